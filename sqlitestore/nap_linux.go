package sqlitestore

import (
	"syscall"
	"time"
)

// nap sleeps for less than a millisecond. Timers of the runtime may take
// several times as long, and nobody would write the file meanwhile.
func nap(d time.Duration) {
	t := syscall.NsecToTimespec(int64(d))
	_ = syscall.Nanosleep(&t, nil)
}
