package dynamodbbackend_test

import (
	"testing"

	"github.com/cachekit-io/cachekit-go/internal/testenv"
)

// TestServer runs everything that needs a real server, on one: it takes seconds to
// start. Each test has a table of its own.
func TestServer(t *testing.T) {
	s := testenv.DynamoDB(t)
	for _, test := range []struct {
		name string
		run  func(*testing.T, *testenv.DynamoServer)
	}{
		{"ConformanceNew", conformanceNew},
		{"ConformanceOpen", conformanceOpen},
		{"AbandonedBatchIsNotDeliveredLater", abandonedBatch},
		{"AbandonedWriteThatTheServerHeldDoesNothing", heldWrite},
		{"CancelFreesTheConnection", cancelFreesTheConnection},
		{"LockSurvivesALostAnswer", lockSurvivesALostAnswer},
		{"ExpiredItemsAreMissing", expiredIsMissing},
		{"Layout", layout},
		{"NamesOfAttributes", ownNames},
		{"ForeignItems", foreignItems},
		{"Sizes", sizes},
		{"ForeignStamps", foreignStamps},
		{"ManyWritersOfOneKey", manyWritersOfOneKey},
		{"ScanCursor", scanCursor},
		{"EventualReads", eventual},
		{"UnprocessedItems", unprocessed},
		{"ThrottledBatch", throttledBatch},
		{"StuckBatch", stuckBatch},
		{"BatchOwners", batchOwners},
		{"EnsureTable", ensureTable},
		{"Open", openTable},
		{"CloseDuringCalls", closeDuringCalls},
	} {
		t.Run(test.name, func(t *testing.T) { test.run(t, s) })
	}
}
