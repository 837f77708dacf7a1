package pgstore

import (
	"embed"
	"fmt"
	"path"
	"regexp"
	"strconv"
	"strings"
	"time"
)

// The schema is tables and functions. Steps make and change the tables.
// Every step is followed by all functions, as they are in this version,
// whatever the version was before. A function whose parameters or answers
// change gets a new name, and the old one stays while programs of the
// version before may run: see schema/functions/previous.sql.

//go:embed schema/*.sql schema/functions/*.sql
var schemaFiles embed.FS

// Migration is one step of the schema.
type Migration struct {
	Version int       // counted from 1; 7 is the first that is a step of its own
	Name    string    // what it brings, in a word
	Applied time.Time // when it was applied; zero = not yet
}

// step is a migration with its statements for one namespace.
type step struct {
	Migration
	sql string
}

// steps returns all migrations in order, for a namespace. Stores that were
// made before version 7 became the first have those below 7 as steps of
// their own.
func steps(namespace string) []step {
	var all []step
	for _, name := range sqlFiles("schema") {
		number, title, _ := strings.Cut(strings.TrimSuffix(path.Base(name), ".sql"), "_")
		version, err := strconv.Atoi(number)
		if err != nil {
			panic(err) // they are embedded
		}
		all = append(all, step{Migration{Version: version, Name: title}, expand(read(name), namespace)})
	}
	return all
}

// functions are the statements that make all functions, in place of those
// that exist.
func functions(namespace string) string {
	var all strings.Builder
	for _, name := range sqlFiles("schema/functions") {
		all.WriteString(expand(read(name), namespace))
		all.WriteByte('\n')
	}
	return all.String()
}

// sqlFiles are the files of a folder, by name.
func sqlFiles(folder string) (names []string) {
	files, err := schemaFiles.ReadDir(folder)
	if err != nil {
		panic(err) // they are embedded
	}
	for _, f := range files {
		if !f.IsDir() {
			names = append(names, path.Join(folder, f.Name()))
		}
	}
	return names
}

func read(name string) string {
	text, err := schemaFiles.ReadFile(name)
	if err != nil {
		panic(err) // they are embedded
	}
	return string(text)
}

// conflictColumns are the types of the columns of answer_v1 that describe a
// conflict.
var conflictColumns = []string{"integer", "text", "smallint", "bigint", "bigint", "smallint", "text", "integer", "json"}

var token = regexp.MustCompile(`\{(\w+)(?: (\w+))?\}|\$\$`)

// jobColumns are the columns of the table of jobs, in its order.
var jobColumns = strings.Fields("enqueued_at run_at retention run anchor started_at finished_at fetch_no timeout " +
	"hold_window hold_ttl attempt max_attempts " +
	"state priority hold_until origin raw cancel_requested keyless from_enqueue id kind queue key nonce digest args " +
	"key_text worker behind displaced " +
	"superseded_by meta tags errors result trace extra retention_failed")

// slim are the columns of a job without its args, which are then not read.
// Only if the readable key is made of the args, which are then small, they
// are read.
func slim(alias string) string {
	columns := make([]string, len(jobColumns))
	for i, c := range jobColumns {
		columns[i] = alias + "." + c
		switch c {
		case "args":
			columns[i] = fmt.Sprintf("case when right(%s.key_text, 1) = E'\\x02' then %s.args else '' "+
				"end", alias, alias)
		case "result":
			columns[i] = "null::bytea"
		}
	}
	return strings.Join(columns, ", ")
}

// columns are the columns of a job, some of them null.
func columns(alias string, nulls map[string]string) string {
	all := make([]string, len(jobColumns))
	for i, c := range jobColumns {
		all[i] = alias + "." + c
		if as, ok := nulls[c]; ok {
			all[i] = "null::" + as
		}
	}
	return strings.Join(all, ", ")
}

// unread are the columns of a job that record.columns passes over, with their
// types.
var unread = map[string]string{"fetch_no": "bigint", "nonce": "bytea", "result": "bytea", "trace": "text"}

// safe keeps functions and types of a schema in the caller's search_path
// from being used in place of PostgreSQL's own.
const safe = "set search_path = pg_catalog, pg_temp"

// expand replaces what is in braces in a statement: a word has the value that
// words gives it, {ns} is the quoted schema, {n delay} the delay of row i,
// {first delay} that of the first row, and so on. It is one pass, so a
// namespace may contain anything that an identifier can.
func expand(text, namespace string) string {
	quoted := quote(namespace)
	tag := "$onceq$" // the quotes around a function must not occur in it
	for n := 0; strings.Contains(quoted, tag); n++ {
		tag = fmt.Sprintf("$onceq%d$", n)
	}
	nulls := func(types []string) string { return "null::" + strings.Join(types, ", null::") }
	return token.ReplaceAllStringFunc(text, func(found string) string {
		if found == "$$" {
			return tag
		}
		m := token.FindStringSubmatch(found)
		if word, ok := words[m[1]]; ok {
			return strings.ReplaceAll(word, "$", m[2])
		}
		switch m[1] {
		case "ns":
			if m[2] == "literal" {
				return "'" + strings.ReplaceAll(namespace, "'", "''") + "'"
			}
			return quoted
		case "n":
			return numberOf(m[2])
		case "first":
			return firstNumber(m[2])
		case "conflict_nulls":
			return nulls(conflictColumns)
		case "conflict_nulls_from_state":
			return nulls(conflictColumns[2:])
		case "answer_nulls":
			return strings.Repeat("null, ", 1+len(conflictColumns)) + "null"
		case "slim":
			return slim(m[2])
		case "columns":
			return columns(m[2], nil)
		case "read": // a job in a fetched_v1 or a found_v2
			return columns(m[2], unread)
		case "bare": // a row without args
			return "row(" + slim(m[2]) + ")::" + quoted + ".jobs"
		case "one": // args only if a single job was named
			return "case when cardinality(ids) > 1 then row(" + slim(m[2]) + ")::" + quoted +
				".jobs else " + m[2] + " end"
		case "safe":
			return safe
		case "hot":
			// Plans are made once, for any number of rows, while the tables
			// may still be empty: a plan that scans a table is forbidden.
			return safe + " set enable_seqscan = off set enable_mergejoin = off set plan_cache_mode = " +
				"force_generic_plan set jit = off"
		case "guard":
			// People who run an older onceq see this text: see
			// Store.goExplicit.
			return `if current_setting('transaction_isolation') in ('repeatable read', 'serializable') then
    raise exception
      'onceq: this ran above READ COMMITTED: alter role % set default_transaction_isolation = ''read committed'';',
      quote_ident(current_user)
      using errcode = 'OQ002';
  end if;`
		}
		return found
	})
}

// latest is the version of the schema that this code needs.
func latest() int {
	all := steps("onceq")
	return all[len(all)-1].Version
}

// Script returns the statements of the migrations after a version, for
// people who run SQL by hand.
func Script(config *Config, after int) string {
	namespace := config.namespace()
	var b strings.Builder
	b.WriteString("begin;\n" + migrationSettings + "\n")
	if after == 0 {
		b.WriteString(expand(createSchema, namespace))
	}
	changed := false
	for _, s := range steps(namespace) {
		if s.Version > after {
			b.WriteString(s.sql + "\n" + s.record(namespace) + "\n")
			changed = true
		}
	}
	if changed {
		b.WriteString(functions(namespace))
	}
	b.WriteString("commit;\n")
	return b.String()
}

// record notes that a step was made.
func (s step) record(namespace string) string {
	return fmt.Sprintf("insert into %s.migrations (version, name) values (%d, '%s');\n", quote(namespace),
		s.Version, s.Name)
}

// migrationSettings are what a migration relies on, or could be stopped by.
const migrationSettings = `set local search_path = pg_catalog, pg_temp;
set local standard_conforming_strings = on;
set local lock_timeout = 0;
set local statement_timeout = 0;
`

// createSchema makes the schema if it does not exist: a role that may not
// create schemas can use one that was made for it.
const createSchema = `do $$ begin
  if not exists (select from pg_namespace where nspname = {ns literal}) then
    create schema {ns};
  end if;
end $$;
create table if not exists {ns}.migrations (
  version integer primary key,
  name    text not null,
  applied timestamptz not null default now()
);
`
