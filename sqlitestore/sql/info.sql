-- The version of SQLite, the step of the schema, and PRAGMA synchronous.
SELECT sqlite_version(), (SELECT value FROM onceq_meta WHERE name = 'schema'), synchronous FROM pragma_synchronous
