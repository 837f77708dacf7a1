package pgtest

import (
	"errors"
	"os"
	"os/exec"
	"os/user"
	"strconv"
)

// Account is a user of this machine. The nil Account is the one that this
// process runs as.
type Account struct{ uid, gid int }

// Unprivileged returns an account for servers that root must not run.
func Unprivileged() (*Account, error) {
	if os.Getuid() != 0 {
		return nil, nil
	}
	for _, name := range []string{"postgres", "nobody"} {
		u, err := user.Lookup(name)
		if err != nil {
			continue
		}
		uid, err1 := strconv.Atoi(u.Uid)
		gid, err2 := strconv.Atoi(u.Gid)
		return &Account{uid, gid}, errors.Join(err1, err2)
	}
	return nil, errors.New("root cannot run PostgreSQL, and there is neither a user postgres nor nobody")
}

// Own gives files to the account.
func (a *Account) Own(paths ...string) error {
	if a == nil {
		return nil
	}
	var all error
	for _, path := range paths {
		all = errors.Join(all, os.Chown(path, a.uid, a.gid))
	}
	return all
}

// Run makes a command run as the account. It is called before the command is
// started.
func (a *Account) Run(cmd *exec.Cmd) { cmd.SysProcAttr = attributes(a) }
