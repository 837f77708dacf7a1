package sqlitestore

import (
	"context"
	"database/sql"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"github.com/onceq/onceq"
)

// foreignTool runs SQL on a file with an SQLite that is not ours: Debian's
// sqlite3, or Python's.
func foreignTool(t *testing.T, path, query string) string {
	t.Helper()
	var cmd *exec.Cmd
	if tool, err := exec.LookPath("sqlite3"); err == nil {
		cmd = exec.Command(tool, path, query)
	} else if tool, err := exec.LookPath("python3"); err == nil {
		cmd = exec.Command(tool, "-c", `import sqlite3, sys
c = sqlite3.connect(sys.argv[1])
print(*c.execute(sys.argv[2]).fetchone(), sep='|')
c.close()`, path, query)
	} else if os.Getenv("ONCEQ_TEST_REQUIRE") != "" {
		t.Fatal("this test needs sqlite3 or python3: scripts/servers installs the first")
	} else {
		t.Skip("neither sqlite3 nor python3 is installed")
	}
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%s: %v: %s", cmd, err, out)
	}
	return strings.TrimSpace(string(out))
}

// looks is a process that enqueues for each line it is sent, as obeys does.
// Before, it does with the file what a program may do. SQLite's locks are
// those of the whole process here, but for one role.
func looks(role, file string) error {
	if role != "keeps" {
		if err := posixLocks(filepath.Dir(file)); err != nil {
			return err
		}
	}
	s, err := Open(file, nil)
	if err != nil {
		return err
	}
	defer s.Close()
	if _, err := s.Enqueue(context.Background(), onceq.EnqueueRequest{Rows: rowsOf("first", 1)}); err != nil {
		return err
	}
	switch role {
	case "twice": // a client here and a worker there
		second, err := Open(file, nil)
		if err != nil {
			return err
		}
		if err := second.Close(); err != nil {
			return err
		}
	case "refused": // names that lead to the file, and one who finds out that it is not his
		if _, err := Open(file+"/jobs.db", nil); err == nil {
			return errors.New("a file is no folder")
		}
		if err := os.Symlink(file, file+".link"); err != nil {
			return err
		}
		for range 2 {
			second, err := Open(file+".link", nil)
			if err != nil {
				return err
			}
			second.Close()
		}
	case "keeps": // careless code of the program's own
		if _, err := os.ReadFile(file); err != nil {
			return err
		}
	}
	return obeys(s, "again")
}

// posixLocks has SQLite use the locks that it uses where there are no
// others. It cannot change once a database was opened.
func posixLocks(folder string) error {
	db, err := sql.Open("sqlite", "file:"+filepath.Join(folder, "other.db"))
	if err != nil {
		return err
	}
	if _, err := db.Exec("CREATE TABLE other (n)"); err != nil {
		return err
	}
	return db.Close()
}

// A tool that closes the database takes itself for the last one when it
// finds no lock, and deletes the log in use: what was acknowledged is lost
// then, and its key can be taken twice.
func TestAnotherToolLeavesTheLogInUseAlone(t *testing.T) {
	for _, role := range []string{"once", "twice", "refused", "keeps"} {
		t.Run(role, func(t *testing.T) {
			if role == "keeps" && runtime.GOOS != "linux" {
				t.Skip("only Linux has locks that survive this")
			}
			ctx := context.Background()
			file := filepath.Join(t.TempDir(), "jobs.db")
			p := start(t, "looks "+role, file)
			p.says(t, "ready")
			if n := foreignTool(t, file, "SELECT count(*) FROM onceq_jobs"); n != "1" {
				t.Fatalf("the tool sees %s jobs, want 1", n)
			}
			for _, side := range []string{"-wal", "-shm"} {
				if _, err := os.Stat(file + side); err != nil {
					t.Errorf("the tool took %s away from under a process that uses it: %v", side, err)
				}
			}
			p.tell(t, "go")
			p.says(t, "ack")

			rows := rowsOf("again", 1) // the same key
			rows[0].ID = "rival"
			results, err := opened(t, file).Enqueue(ctx, onceq.EnqueueRequest{Rows: rows})
			if err != nil {
				t.Fatal(err)
			}
			if results[0].Outcome != onceq.Skipped || results[0].Job.ID != "again-0" {
				t.Fatalf("the key of an acknowledged job was taken again: %s by "+
					"%s", results[0].Outcome, results[0].Job.ID)
			}
			p.tell(t, "go")
			p.says(t, "ack")
			if findings, err := opened(t, file).Check(ctx); err != nil || len(findings) > 0 {
				t.Fatal(findings, err)
			}
		})
	}
}
