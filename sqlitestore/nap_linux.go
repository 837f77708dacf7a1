package sqlitestore

import (
	"syscall"
	"time"
)

// nap sleeps for less than a millisecond. Timers of the runtime may take several times as long,
// and the file would lie idle meanwhile.
func nap(d time.Duration) {
	t := syscall.NsecToTimespec(int64(d))
	_ = syscall.Nanosleep(&t, nil)
}
