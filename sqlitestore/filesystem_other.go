//go:build !linux

package sqlitestore

func networkOf(string) string { return "" }
