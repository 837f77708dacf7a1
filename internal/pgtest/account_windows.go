package pgtest

import "syscall"

func attributes(*Account) *syscall.SysProcAttr { return &syscall.SysProcAttr{} }
