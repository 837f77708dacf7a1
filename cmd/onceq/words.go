package main

import (
	"strings"

	"github.com/onceq/onceq/internal/wire"
)

// flagOf is what an option of package onceq is called on the command line. A
// value of one is called as in a job as JSON.
func flagOf(name string) string {
	switch {
	case strings.HasPrefix(strings.TrimSpace(name), "(said "): // where else than here
		return ""
	case strings.HasPrefix(name, "said "):
		return "given"
	}
	if name == "WorkerConfig.Concurrency" {
		return "--concurrency"
	}
	if strings.HasPrefix(name, "WorkerConfig.Queues") {
		return "--queues"
	}
	if flag, ok := flags[name]; ok {
		return flag
	}
	return wire.Member(name)
}

var flags = map[string]string{
	"Unique": "--unique", "UniqueKey": "--key", "UniqueKey's scope": "--key-scope",
	"UniqueKey(key, ByKey)": "--key with --key-scope key",
	"Unique.By":             "--by", "By": "--by",
	"Unique.Fields": "--fields", "Fields": "--fields",
	"Unique.MetaFields": "--meta-fields", "MetaFields": "--meta-fields",
	"SecretKey": "--secret-key", "ReadableKey": "--secret-key=false",
	"Unique.AllowBlank": "--allow-blank", "AllowBlank": "--allow-blank",
	"Unique.Until": "--until", "Until": "--until", "Until: UntilWindowEnds": "--until window-ends",
	"Unique.Window": "--window", "Window": "--window", "Unique.TTL": "--ttl", "TTL": "--ttl",
	"Unique.FromEnqueue": "--from-enqueue", "FromEnqueue": "--from-enqueue",
	"OnConflict": "--on-conflict", "Replace.Only": "--on-conflict replace:",
	"Debounce.MaxWait": "--on-conflict debounce:",
	"ID":               "--id", "Delay": "--delay", "delay": "--delay", "RunAt": "--at", "run at": "--at",
	"priority": "--priority", "max attempts": "--max-attempts", "timeout": "--timeout", "retention": "--retention",
	"retention failed": "--retention-failed",
	"Backoff.Initial":  "the first time of --backoff", "Backoff.Max": "the second time of --backoff",
	"Backoff.Factor": "the factor of --backoff", "Initial": "the first time",
	"tag": "--tags", "tags": "--tags", "meta": "--meta",
	"Config.MaxArgs": "--max-args", "All": "--all", "pause": "--for", "Config.Lease": "--lease",
	"Periodic.Name": "the schedule's name", "Periodic.Location": "--zone", "Periodic.CatchUp": "--catch-up",
	"Periodic.Jitter":    "--jitter",
	"WorkerConfig.Kinds": "--kinds", "WorkerConfig.Lease": "--lease",
	"WorkerConfig.ShutdownTimeout": "--shutdown-timeout",
}
