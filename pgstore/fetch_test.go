package pgstore_test

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/onceq/onceq"
)

// insert puts due jobs of a kind into the default queue, past the store.
// Their run time is at; 0 makes it 1, 2, 3 … Their IDs are in this order,
// begin with prefix and end with the kind.
func (d *database) insert(t testing.TB, kind, prefix string, at, n int) {
	t.Helper()
	d.exec(t, `insert into {ns}.jobs (enqueued_at, run_at, max_attempts, state, priority, raw, cancel_requested,
			keyless, id, kind, queue, nonce, args)
		select 1, coalesce(nullif($1::bigint, 0), i), 1, 0, 5, false, false,
			false, $2::text || lpad(i::text, 20, '0') || $3::text, $3::text, 'default', '', '{}'
		from generate_series(1, $4::integer) i`, at, prefix, kind, n)
}

// Thousands of jobs may be due at the same millisecond: at midnight, or
// because somebody gave a batch one run time. Few or many of them are of the
// kinds that a worker takes. It gets these in their order, and reads about as
// many entries as it gets jobs.
func TestAFetchByKindAmongJobsOfOneInstantKeepsTheirOrder(t *testing.T) {
	for name, c := range map[string]struct {
		mine, others int
		after        bool // mine have larger IDs than the others
		reads        int  // entries, on average
	}{
		"few behind many":     {250, 20_000, true, 4_000},
		"few among many":      {250, 20_000, false, 4_000},
		"as many as others":   {2_000, 2_000, false, 4_000},
		"many among few":      {5_000, 50, false, 4_000},
		"many behind many":    {5_000, 20_000, true, 8_000},
		"all, others are due": {1_000, 0, false, 4_000},
	} {
		t.Run(name, func(t *testing.T) {
			h := measuredHand(t)
			h.insert(t, "other", "a", 7, c.others)
			h.insert(t, "other", "b", 0, 6) // before them
			h.insert(t, "other", "c", 8, 5_000)
			prefix := map[bool]string{true: "b", false: "a"}[c.after]
			h.insert(t, "mine", prefix, 7, c.mine-3)
			h.insert(t, "mine too", "z", 7, 3)
			h.insert(t, "mine", "z", 8, 10)
			_, err := h.store.Extend(h.ctx, onceq.ExtendRequest{Worker: "w", Lease: time.Hour})
			h.must(err)
			// Every tenth is locked by somebody.
			tx, err := h.admin.Begin(h.ctx)
			h.must(err)
			defer tx.Rollback(h.ctx)
			_, err = tx.Exec(h.ctx, "select from "+h.quoted()+".jobs where id like '%0mine' for update")
			h.must(err)
			want := strings.Split(table(t, h.database, "select id from {ns}.jobs "+
				"where kind like 'mine%' and id not like '%0mine' order by run_at, id"), "\n")
			read := func() int { return h.entriesRead("jobs_waiting", "jobs_kinds") }
			before, no := read(), 0
			for ; len(want) > 0 && no < 10; no++ {
				f, err := h.store.Fetch(h.ctx, onceq.FetchRequest{Worker: "w", No: int64(no + 1),
					Queues: []onceq.QueueSlots{{Queue: "default", Slots: 100}}, Kinds: []string{"mine", "mine too"}})
				h.must(err)
				n := min(100, len(want))
				if got := ids(f.Jobs); !slices.Equal(got, want[:n]) {
					t.Fatalf("fetch %d: %q, want %q", no+1, got, want[:n])
				}
				want = want[n:]
			}
			if n, most := read()-before, c.reads*no; n > most {
				t.Errorf("%d fetches read %d entries, more than %d", no, n, most)
			}
		})
	}
}
