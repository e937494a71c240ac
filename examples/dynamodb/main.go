// Dynamodb does what examples/quickstart does against a DynamoDB table, which it
// creates if there is none: a struct is stored encrypted, read back, and refused
// after one byte was changed. Region, credentials and endpoint are found as the AWS
// SDK finds them; for a DynamoDB Local on port 8000:
//
//	AWS_ENDPOINT_URL_DYNAMODB=http://127.0.0.1:8000 AWS_REGION=local \
//	AWS_ACCESS_KEY_ID=any AWS_SECRET_ACCESS_KEY=any go run ./examples/dynamodb
package main

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"log"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/config"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"

	"github.com/cachekit-io/cachekit-go/backends/dynamodbbackend"
	"github.com/cachekit-io/cachekit-go/keys"
	"github.com/cachekit-io/cachekit-go/secure"
)

const table = "cachekit-example"

// User is what the program caches.
type User struct {
	Name  string `json:"name"`
	Email string `json:"email"`
}

func main() {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	if err := run(ctx); err != nil {
		log.Fatal(err)
	}
}

func run(ctx context.Context) error {
	cfg, err := config.LoadDefaultConfig(ctx)
	if err != nil {
		return err
	}
	client := dynamodb.NewFromConfig(cfg)
	if err := dynamodbbackend.EnsureTable(ctx, client, table, nil); err != nil {
		return err
	}
	backend, err := dynamodbbackend.New(client, table, nil)
	if err != nil {
		return err
	}
	defer backend.Close()
	cache, err := secure.New(ctx, &secure.Options{
		Namespace: "cachekit-example",
		Backend:   backend,
		MasterKey: keys.Generate(), // a real program keeps its key
		NoL1:      true,            // so that every read shows what the table says
	})
	if err != nil {
		return err
	}
	defer cache.Close()

	ada := User{Name: "Ada Lovelace", Email: "ada@example.org"}
	if err := cache.SetTTL(ctx, "42", ada, time.Minute); err != nil {
		return err
	}
	defer cache.Delete(ctx, "42")
	fmt.Printf("stored   %+v\n", ada)

	item, stored, err := look(ctx, client, "cachekit-example:42")
	if err != nil {
		return err
	}
	fmt.Printf("in DynamoDB %d bytes of ciphertext:\n%s", len(stored), hex.Dump(stored))

	var user User
	found, err := cache.Get(ctx, "42", &user)
	if err != nil {
		return err
	}
	fmt.Printf("read     %+v (found: %v)\n", user, found)

	stored[len(stored)-1] ^= 1
	if _, err := client.PutItem(ctx, &dynamodb.PutItemInput{TableName: aws.String(table), Item: item}); err != nil {
		return err
	}
	if _, err = cache.Get(ctx, "42", &user); !errors.Is(err, secure.ErrAuth) {
		return fmt.Errorf("a changed byte went unnoticed: %v", err)
	}
	fmt.Printf("tampered %v\n", err)
	return nil
}

// look reads an item beside the cache, to see what it stored.
func look(ctx context.Context, client *dynamodb.Client, key string) (item map[string]types.AttributeValue, value []byte, err error) {
	out, err := client.GetItem(ctx, &dynamodb.GetItemInput{
		TableName:      aws.String(table),
		Key:            map[string]types.AttributeValue{"key": &types.AttributeValueMemberS{Value: key}},
		ConsistentRead: aws.Bool(true),
	})
	if err != nil {
		return nil, nil, err
	}
	v, ok := out.Item["value"].(*types.AttributeValueMemberB)
	if !ok || len(v.Value) == 0 {
		return nil, nil, errors.New("the entry is not in the table")
	}
	return out.Item, v.Value, nil
}
