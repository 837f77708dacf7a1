//go:build !linux

package test

import "testing"

func smallDisk(*testing.T, int) string { return "" }

func fill(*testing.T, string) (free func()) { return func() {} }
