package sqlitestore

import (
	"context"
	"path/filepath"
	"strings"
	"testing"
)

// TestStatementsUseTheirIndexes holds the shape of every statement that
// must not slow down as the file grows: it reads no table from end to end,
// and sorts no more than what it returns.
func TestStatementsUseTheirIndexes(t *testing.T) {
	t.Parallel()
	s := opened(t, filepath.Join(t.TempDir(), "jobs.db"))
	enqueue(t, s, rowsOf("a", 10))
	err := s.read(context.Background(), "explain", func(st *step) error {
		for name, q := range map[string]*statement{
			"answer": sqlAnswer, "args": sqlArgs, "count": sqlCount, "count_due": sqlCountDue,
			"count_later": sqlCountLater, "standing": sqlStanding,
			"delete_keys": sqlDeleteKeys,
			"due":         sqlDue, "end": sqlEnd.many,
			"end of one": sqlEnd.one,
			"expired":    sqlExpired, "fetch": sqlFetch, "heads": sqlHeads,
			"job_by_id":  sqlJobByID,
			"jobs_by_id": sqlJobsByID, "jobs_by_seq": sqlJobsBySeq, "key": sqlKey, "keys": sqlKeys,
			"keys_by_name": sqlKeysByName,
			"list":         sqlList, "look_all": sqlLookAll, "look_few": sqlLookFew, "prune": sqlPrune,
			"runs":       sqlRuns,
			"spent_keys": sqlSpentKeys, "start": sqlStart.many,
			"start of one": sqlStart.one,
			"stop_counts":  sqlStopCounts, "due_counts": sqlDueCounts,
			"update_job": sqlUpdateJob, "waiting_kinds": sqlWaitingKinds, "worker_runs": sqlWorkerRuns,
			"workers": sqlWorkers,
		} {
			var plan []string
			p, err := st.raw.PrepareContext(context.Background(), "EXPLAIN QUERY PLAN "+q.text)
			if err != nil {
				return err
			}
			args := make([]any, strings.Count(q.text, "?"))
			rows, err := p.Query(args...)
			if err != nil {
				return err
			}
			for rows.Next() {
				var id, parent, unused int
				var line string
				if err := rows.Scan(&id, &parent, &unused, &line); err != nil {
					return err
				}
				plan = append(plan, line)
			}
			if err := rows.Close(); err != nil {
				return err
			}
			p.Close()
			for _, line := range plan {
				// The rest of what is scanned is small: a JSON array, the
				// priorities of a queue, the workers, rows just found by an
				// index.
				if strings.HasPrefix(line, "SCAN j") && !strings.Contains(line, "VIRTUAL") ||
					strings.HasPrefix(line, "SCAN k") ||
					strings.HasPrefix(line, "SCAN onceq_jobs") || strings.HasPrefix(line, "SCAN onceq_keys") {
					t.Errorf("%s reads a table through: %s", name, strings.Join(plan, "; "))
				}
				if strings.Contains(line, "TEMP B-TREE") {
					t.Logf("%s sorts: %s", name, strings.Join(plan, "; "))
				}
			}
			switch name { // what others have waiting is not stepped over
			case "fetch", "due", "heads", "count_due", "count_later":
				if !strings.Contains(strings.Join(plan, "; "), "(queue=? AND kind=? AND priority=?") {
					t.Errorf("%s does not go by kind: %s", name, strings.Join(plan, "; "))
				}
			}
			if testing.Verbose() {
				t.Log(name, plan)
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}
