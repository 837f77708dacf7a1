package pgtest

import "syscall"

func diesWithThread(a *syscall.SysProcAttr) { a.Pdeathsig = syscall.SIGQUIT }
