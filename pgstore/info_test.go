package pgstore_test

import (
	"strings"
	"testing"

	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/onceq/onceq"
	"github.com/onceq/onceq/internal/pgtest"
	"github.com/onceq/onceq/pgstore"
)

func TestAStoreSaysWhatPutsItsPromisesAtRisk(t *testing.T) {
	d := newDatabase(t, pgtest.URL(t))
	d.open(t)
	for _, c := range []struct{ name, value, want string }{
		{"synchronous_commit", "off", "synchronous_commit is off"},
		{"default_transaction_isolation", "serializable", "isolation is above read committed"},
	} {
		other := *d
		other.url = with(t, d.url, c.name, c.value)
		s, err := pgstore.New(other.pool(t, func(*pgxpool.Config) {}), &pgstore.Config{Namespace: d.schema})
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = s.Close() }()
		client, err := onceq.NewClient(s, nil)
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = client.Close() }()
		if _, err := client.Enqueue(t.Context(), onceq.JSON("mail", []byte("1"))); err != nil {
			t.Fatal(err)
		}
		info, err := s.Traits().Info(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if !strings.HasPrefix(info.Server, "PostgreSQL ") || !strings.HasPrefix(info.Schema, "step ") {
			t.Errorf("%+v", info)
		}
		got := strings.Join(info.Warnings, "\n")
		if !strings.Contains(got, c.want) || strings.Contains(got, "encrypted") {
			t.Errorf("%q, want %q", got, c.want)
		}
	}
}
