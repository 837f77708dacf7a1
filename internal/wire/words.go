package wire

import (
	"strings"

	"github.com/onceq/onceq"
)

// Words returns a refusal of package onceq in the words of a job as JSON: its
// members in place of options. Other errors come back as they are.
func Words(err *onceq.InvalidError) *onceq.InvalidError { return err.In(Member) }

// Member is what an option of package onceq, or a value of one, is called in a
// job as JSON.
func Member(name string) string {
	if said, ok := strings.CutPrefix(strings.Trim(name, " ()"), "said "); ok {
		return strings.Replace(name, said, map[string]string{"at the call": "in the job",
			"in Config.Defaults": "for all jobs"}[said], 1)
	}
	if member, ok := members[name]; ok {
		return member
	}
	return name
}

var members = map[string]string{
	"Unique": "unique", "UniqueKey": "unique_key", "UniqueKey's scope": "unique_scope",
	"UniqueKey(key, ByKey)": `unique_key with "unique_scope": "key"`,
	"Unique.By":             "by", "By": "by",
	"Unique.Fields": "fields", "Fields": "fields", "Unique.MetaFields": "meta_fields", "MetaFields": "meta_fields",
	"SecretKey": "secret_key", "ReadableKey": `"secret_key": false`,
	"Unique.AllowBlank": "allow_blank", "AllowBlank": "allow_blank",
	"Unique.Until": "until", "Until": "until", "Until: UntilWindowEnds": `"until": "window-ends"`,
	"Unique.Window": "window", "Window": "window", "Unique.TTL": "ttl", "TTL": "ttl",
	"Unique.FromEnqueue": "from_enqueue", "FromEnqueue": "from_enqueue",
	"OnConflict": "on_conflict", "Replace.Only": "on_conflict", "Debounce.MaxWait": "on_conflict",
	"Backoff.Initial": "the first time of backoff", "Backoff.Max": "the second time of backoff",
	"Backoff.Factor": "the factor of backoff", "Initial": "the first time",
	"ID": "id", "Delay": "delay", "RunAt": "run_at", "run at": "run_at", "max attempts": "max_attempts",
	"retention failed": "retention_failed", "tag": "tags",
	"Config.MaxArgs": "the limit here", "All": "all",
	"Periodic.Name": "name", "Periodic.Location": "zone", "Periodic.CatchUp": "catch_up", "Periodic.Jitter": "jitter",
	"ByKind": "kind", "ByQueue": "queue", "ByArgs": "args", "ByMeta": "meta", "ByKey": "key",
	"UntilDue": "due", "UntilStarted": "started", "UntilFinished": "finished", "UntilSucceeded": "succeeded",
	"UntilFailed": "failed", "UntilDeleted": "deleted", "UntilWindowEnds": "window-ends",
	"Skip": "skip", "Reject": "reject", "Replace": "replace", "Debounce": "debounce", "Coalesce": "coalesce",
	"Supersede": "supersede",
}
