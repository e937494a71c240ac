package testenv_test

import (
	"net/http"
	"testing"

	"github.com/cachekit-io/cachekit-go/internal/testenv"
)

func TestDynamoDBStartsAndStops(t *testing.T) {
	var url string
	t.Run("up", func(t *testing.T) {
		s := testenv.DynamoDB(t)
		url = s.URL()
		resp, err := http.Get(url)
		if err != nil {
			t.Fatal(err)
		}
		_ = resp.Body.Close()
		if resp.StatusCode != http.StatusBadRequest { // no credentials, no operation
			t.Errorf("status %d", resp.StatusCode)
		}
	})
	http.DefaultClient.CloseIdleConnections()
	if url == "" {
		t.SkipNow()
	}
	if resp, err := http.Get(url); err == nil {
		_ = resp.Body.Close()
		t.Error("a stopped server answers")
	}
}
