package main

import (
	"context"
	"errors"
	"os"
	"slices"
	"strings"

	"github.com/cachekit-io/cachekit-go/backends"
	"github.com/cachekit-io/cachekit-go/backends/dynamodbbackend"
)

// envDynamoTable names a table of DynamoDB. The family's chain has no variable
// for it, because a program names that storage in its code; this tool has to be
// told.
const envDynamoTable = "CACHEKIT_DYNAMODB_TABLE"

// dynamoTable returns the table that the environment names, and refuses it
// beside another storage. It is "" if none is named.
func dynamoTable() (string, error) {
	table, set := os.LookupEnv(envDynamoTable)
	if !set {
		return "", nil
	}
	others := slices.DeleteFunc([]string{"CACHEKIT_API_KEY", "CACHEKIT_REDIS_URL", "CACHEKIT_MEMCACHED_SERVERS", "CACHEKIT_FILE_CACHE_DIR"},
		func(name string) bool { _, set := os.LookupEnv(name); return !set })
	if len(others) > 0 {
		return "", fail(codeUsage, "more than one storage is selected: %s and %s", envDynamoTable, strings.Join(others, ", "))
	}
	if strings.TrimSpace(table) == "" {
		return "", fail(codeUsage, "%s is blank", envDynamoTable)
	}
	return table, nil
}

func openDynamo(ctx context.Context, table string) (backends.Backend, error) {
	b, err := dynamodbbackend.Open(ctx, table, nil)
	var config *dynamodbbackend.ConfigError
	switch {
	case errors.As(err, &config):
		return nil, fail(codeUsage, "%s: %w", envDynamoTable, err)
	case err != nil:
		return nil, &failure{codeBackend, err}
	}
	return b, nil
}
