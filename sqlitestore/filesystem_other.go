//go:build !(darwin || freebsd || linux)

package sqlitestore

func networkOf(string) string { return "" }
