//go:build !unix

package pgstore_test

import "time"

func ownCPU() time.Duration { return 0 }
