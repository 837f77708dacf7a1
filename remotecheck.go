package onceq

import (
	"cmp"
	"hash/fnv"
	"strings"
)

func (f *RemoteFetch) check() (name string, err error) {
	if name, err = nameInStore(f.Owner, f.Worker); err != nil {
		return "", err
	}
	if f.No < 1 {
		return "", invalid("no", f.No, "must be 1 for the first fetch of a worker, and one more for each, also after "+
			"an error")
	}
	if len(f.Queues) == 0 {
		return "", invalid("queues", "", `must say how many jobs of which queue are wanted, as {"default": 1}`)
	}
	if f.Wait < 0 {
		return "", invalid("wait", f.Wait, "must be 0 to %v", MaxRemoteWait)
	}
	return name, cmp.Or(checkSlots(f.Queues), checkKinds(f.Kinds), checkRuns(f.Runs))
}

func checkSlots(queues map[string]int) error {
	if len(queues) > maxRemoteNames {
		return invalid("queues", len(queues), "must be at most %d", maxRemoteNames)
	}
	sum := 0
	for name, slots := range queues {
		if err := checkQueue("queues", name); err != nil {
			return err
		}
		if slots < 0 || slots > MaxRemoteSlots {
			return invalid("queues", slots, "must be 0 to %d jobs of %q", MaxRemoteSlots, name)
		}
		sum += slots
	}
	if sum > MaxRemoteSlots {
		return invalid("queues", sum, "must be at most %d jobs in all", MaxRemoteSlots)
	}
	return nil
}

func checkKinds(kinds []string) error {
	if kinds != nil && len(kinds) == 0 || len(kinds) > maxRemoteNames {
		return invalid("kinds", len(kinds), "must be 1 to %d names, or null for any", maxRemoteNames)
	}
	for _, kind := range kinds {
		if err := checkKind("kinds", kind); err != nil {
			return err
		}
	}
	return nil
}

func checkRuns(runs []Run) error {
	if len(runs) > MaxRemoteRuns {
		return invalid("runs", len(runs), "must be at most %d", MaxRemoteRuns)
	}
	return nil
}

// nameInStore is the name of a worker in the store. It has that of its owner, so
// that nobody can act for another's worker, nor for one in Go.
func nameInStore(owner, worker string) (string, error) {
	if err := checkRemoteName("owner", owner); err != nil {
		return "", err
	}
	i := strings.LastIndexByte(worker, '-')
	if len(worker) > maxRemoteName+20 || i < 0 || worker[i+1:] != checkOf(worker[:i]) ||
		strings.Contains(worker, "/") {
		return "", invalid("worker", worker, "must be a name that Join (POST /workers) gave to this worker: two "+
			"workers with one name would hand back each other's runs")
	}
	return remotePrefix + owner + "/" + worker, nil
}

func checkRemoteName(field, name string) error {
	if name == "" || len(name) > maxRemoteName || strings.ContainsFunc(name, func(c rune) bool {
		return (c < 'a' || c > 'z') && (c < 'A' || c > 'Z') && (c < '0' || c > '9') && !strings.ContainsRune("._-", c)
	}) {
		return invalid(field, name, `must be 1 to %d letters, digits, ".", "_" and "-"`, maxRemoteName)
	}
	return nil
}

// checkOf is the character that ends an issued name. It tells a name that
// somebody made up from one that was issued, and keeps nobody out.
func checkOf(name string) string {
	h := fnv.New32a()
	h.Write([]byte(name))
	sum := h.Sum32()
	return string(IDAlphabet[(sum^sum>>16)%32] | 0x20)
}
