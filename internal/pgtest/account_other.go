//go:build !linux

package pgtest

import "syscall"

func diesWithThread(*syscall.SysProcAttr) {}
