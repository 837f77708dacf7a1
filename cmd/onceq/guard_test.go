//go:build unix

package main

import (
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/onceq/onceq"
	"github.com/onceq/onceq/guard"
	"github.com/onceq/onceq/sqlitestore"
)

// Claims are shown in the words of messages, wherever the command shows jobs
// and keys.
func TestClaimsAreShownInTheWordsOfMessages(t *testing.T) {
	url := "sqlite:" + filepath.Join(t.TempDir(), "jobs.db")
	tokens := claimsIn(t, url)
	rows := map[string]string{}
	for line := range strings.Lines(printed(t, "--store", url, "guard", "list")) {
		token, rest, _ := strings.Cut(line, " ")
		rows[token] = strings.Join(strings.Fields(rest), " ")
	}
	for what, begins := range map[string]string{
		"in doubt":  "mail welcome in doubt 0 lapses in ",
		"sent":      "mail welcome sent 0 lapses in ",
		"running":   "mail welcome running 1 started ",
		"failed":    "mail welcome failed 1 lapses in ",
		"lapsed":    "mail welcome lapsed 0 lapsed ",
		"done":      "mail welcome done 1 completed ",
		"given up":  "mail welcome given up 1 discarded ",
		"cancelled": "mail welcome cancelled 1 cancelled ",
	} {
		token := tokens[what]
		if got := rows[token]; !strings.HasPrefix(got, begins) {
			t.Errorf("%s: the list says %q", what, got)
		}
		var line struct{ ID, Claim string }
		list := printed(t, "--store", url, "guard", "list", "--name", "mail", "--is", what, "--json")
		if err := json.Unmarshal([]byte(list), &line); err != nil || line.ID != token || line.Claim != what {
			t.Errorf("%s alone: %v %s", what, err, list)
		}
		for _, out := range []string{printed(t, "--store", url, "job", "show", token),
			printed(t, "--store", url, "jobs", "--queue", "onceq.guard/mail")} {
			if strings.Contains(out, "1000000") || strings.Contains(out, "no worker") || strings.Contains(out, "due") {
				t.Errorf("%s is shown as a job:\n%s", what, out)
			}
		}
	}
	for words, args := range map[string][]string{
		"the message would be refused as a duplicate of " + tokens["sent"]:     {"explain", "--like", tokens["sent"]},
		"its claim take the key of " + tokens["lapsed"]:                        {"explain", "--like", tokens["lapsed"]},
		"the message would be sent, and its claim hold the key":                {"explain", "--like", tokens["done"]},
		"its message has failed, and its broker brings it again; it lapses at": {"job", "show", tokens["failed"]},
		"its message waits in its broker; it lapses at":                        {"job", "show", tokens["sent"]},
		"nobody has said that its message was sent; it lapses at":              {"job", "show", tokens["in doubt"]},
		"its message was silent for longer than its patience":                  {"job", "show", tokens["lapsed"]},
		"is held by claim " + tokens["sent"] + " (sent, lapses ": {"explain", "welcome", `"sent"`, "--queue",
			"onceq.guard/mail", "--unique"},
		"0 jobs and 8 of onceq's own (claims, schedules, slots), 5 keys held": {"doctor"},
		"no claims match": {"guard", "list", "--name", "other"},
		"waits":           {"keys", "--queue", "onceq.guard/mail"},
	} {
		if out := printed(t, append([]string{"--store", url}, args...)...); !strings.Contains(out, words) {
			t.Errorf("onceq %v does not say %q:\n%s", args, words, out)
		}
	}
}

// claimsIn makes a claim of each state, and returns their tokens.
func claimsIn(t *testing.T, url string) map[string]string {
	t.Helper()
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	store, err := sqlitestore.Open(strings.TrimPrefix(url, "sqlite:"), nil)
	must(err)
	defer store.Close()
	g, err := guard.New(store, &guard.Config{Name: "mail", Lease: time.Hour, Logger: slog.New(slog.DiscardHandler)})
	must(err)
	tokens := map[string]string{}
	send := func(what string, opts ...onceq.Option) guard.Token {
		c, err := g.Send(t.Context(), onceq.JSON("welcome", []byte(`"`+what+`"`)),
			func(context.Context, guard.Token) error { return nil }, opts...)
		must(err)
		tokens[what] = string(c.Token)
		return c.Token
	}
	no := errors.New("no route")
	for what, end := range map[string]error{"done": nil, "failed": no, "given up": onceq.Discard(no),
		"cancelled": onceq.Cancel(no)} {
		_ = g.Handle(t.Context(), send(what), func(context.Context) error { return end })
	}
	c, err := g.Acquire(t.Context(), onceq.JSON("welcome", []byte(`"in doubt"`)))
	must(err)
	tokens["in doubt"] = string(c.Token)
	send("sent")
	send("lapsed", onceq.Delay(time.Millisecond))
	_, err = g.Start(t.Context(), send("running"))
	must(err)
	must(g.Flush(t.Context()))
	return tokens // the guard is not closed: that would end the run
}
