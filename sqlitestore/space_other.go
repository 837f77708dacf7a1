//go:build !(darwin || freebsd || linux)

package sqlitestore

func freeSpace(string) (bytes int64, known bool) { return 0, false }
