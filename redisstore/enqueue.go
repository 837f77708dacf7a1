package redisstore

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"

	"github.com/onceq/onceq"
	"github.com/onceq/onceq/internal/dedup"
)

// The modes of a row, as enqueue.lua describes them.
const (
	modePlain    = 0 // due now; the key is held until an event; the policy never writes to a holder
	modeWrites   = 1 // its policy may write to the holder
	modeHard     = 2 // it must be judged together with other rows of its share
	modeFollower = 3 // it has the same key as an earlier row
	modeClocks   = 4 // added to the first two: it has a delay, or its key has a Window or TTL
)

// planSize is the size of a plan in bytes: what enqueue.lua needs to know
// of a row.
const planSize = 44

// What became of a row that was judged.
const (
	answerInserted = iota + 1
	answerEcho     // this call was sent twice
	answerID       // the ID is taken
	answerKey      // the key is held
)

// share is the part of a batch that one script call takes.
type share struct {
	trip
	rows   []int // their indexes in the batch
	leader []int // the row that a follower follows
	made   *scratch
}

// scratch has the memory for the arguments of a share. It serves one share
// after another.
type scratch struct {
	mode        []byte
	leader      []int
	plans, rows []byte
	ends        []int
	columns     []column
	args        []any
}

var scratches = sync.Pool{New: func() any { return new(scratch) }}

// column is an argument that needs no memory of its own: given a pointer to
// it, the client library writes what it holds.
type column []byte

func (c *column) MarshalBinary() ([]byte, error) { return *c, nil }

// sized returns n zero elements, in the memory of s if that suffices.
func sized[T any](s []T, n int) []T {
	s = slices.Grow(s[:0], n)[:n]
	clear(s)
	return s
}

// perPipeline is how many bytes of rows travel together, and in one script,
// at most: the next wait until these are answered. A larger row travels
// alone.
const perPipeline = 4 << 20

// Enqueue accepts rows in shares of at most 200 rows and 4 MiB of one
// partition. Each share is atomic. If some shares were applied and some
// not, the results have those that were, and the error is uncertain and
// names the others.
func (s *Store) Enqueue(ctx context.Context, r onceq.EnqueueRequest) ([]onceq.EnqueueResult, error) {
	rows := r.Rows
	leave, err := s.enter(ctx)
	if err != nil {
		return nil, err
	}
	defer leave()
	if len(rows) == 0 {
		return nil, ctx.Err()
	}
	if r.NoWait {
		ctx = context.WithValue(ctx, hurried{}, true)
	}
	byPart, err := s.spread(rows)
	if err != nil {
		return nil, err
	}
	results := make([]onceq.EnqueueResult, len(rows))
	var again []int // followers that cannot be answered from their leader: its ID or theirs was taken
	var first error
	for todo := stretches(rows, byPart); len(todo) > 0 && first == nil; {
		n, bytes := 0, 0
		var shares []*share
		for n < len(todo) && (n == 0 || bytes+todo[n].bytes <= perPipeline) {
			bytes += todo[n].bytes
			shares = append(shares, s.share(todo[n].part, rows, todo[n].rows, false))
			n++
		}
		todo = todo[n:]
		var alone []int
		alone, first = s.enqueueShares(ctx, rows, shares, results)
		again = append(again, alone...)
	}
	if len(again) > 0 {
		var shares []*share
		for _, i := range again {
			p, _ := s.where(&rows[i])
			shares = append(shares, s.share(p, rows, []int{i}, true))
		}
		_, err := s.enqueueShares(ctx, rows, shares, results)
		first = errors.Join(first, err)
	}
	if first == nil {
		return results, nil
	}
	var open []int
	for i := range results {
		if results[i].Job == nil {
			open = append(open, i)
		}
	}
	if len(open) == len(rows) && !errors.Is(first, onceq.ErrUncertain) {
		return nil, first
	}
	return results, fmt.Errorf("rows %s of %d: %w", ranges(open), len(rows), uncertain(first))
}

// stretch is the rows of a share to be.
type stretch struct {
	part  int
	rows  []int // their indexes in the batch
	bytes int
}

// stretches cuts the rows of each partition into shares, in their order.
func stretches(rows []onceq.NewRow, byPart [][]int) (all []stretch) {
	for p, places := range byPart {
		for len(places) > 0 {
			st := stretch{part: p}
			n := 0
			for n < min(len(places), perScript) {
				r := &rows[places[n]]
				size := 200 + len(r.Args) + len(r.Meta)
				if n > 0 && st.bytes+size > perPipeline {
					break
				}
				st.bytes += size
				n++
			}
			st.rows, places = places[:n], places[n:]
			all = append(all, st)
		}
	}
	return all
}

// ranges writes indexes as "0-199, 400".
func ranges(indexes []int) string {
	text := ""
	for i := 0; i < len(indexes); {
		k := i
		for k+1 < len(indexes) && indexes[k+1] == indexes[k]+1 {
			k++
		}
		if text != "" {
			text += ", "
		}
		if len(text) > 200 {
			return text + "…"
		}
		if text += fmt.Sprint(indexes[i]); k > i {
			text += fmt.Sprintf("-%d", indexes[k])
		}
		i = k + 1
	}
	return text
}

// spread finds the partition of each row.
func (s *Store) spread(rows []onceq.NewRow) ([][]int, error) {
	byPart := make([][]int, len(s.parts))
	if len(s.parts) == 1 {
		all := make([]int, len(rows))
		for i := range all {
			all[i] = i
		}
		byPart[0] = all
		return byPart, nil
	}
	for i := range rows {
		p, err := s.where(&rows[i])
		if err != nil {
			return nil, err
		}
		byPart[p] = append(byPart[p], i)
	}
	return byPart, nil
}

// noClocks reports whether a row is due now and its key is held until an
// event only.
func noClocks(r *onceq.NewRow) bool {
	if r.Delay != 0 || !r.RunAt.IsZero() {
		return false
	}
	if r.Claim == nil {
		return true
	}
	h := &r.Claim.Hold
	return h.Until != onceq.UntilDue && h.Until != onceq.UntilWindowEnds && h.TTL == 0
}

// share makes the arguments of a script call. alone says that no row
// follows another.
func (s *Store) share(part int, rows []onceq.NewRow, places []int, alone bool) *share {
	sh := &share{trip: trip{script: luaEnqueue, part: part}, rows: places}
	n := len(places)
	made := scratches.Get().(*scratch)
	mode, leader := sized(made.mode, n), sized(made.leader, n)
	modes(rows, places, mode, leader, alone)

	plans := sized(made.plans, n*planSize)[:0]
	buf, ends := made.rows[:0], append(made.ends[:0], 0) // the ID, the key and the rest of each row, and where they end
	var queues, names, contents, counts []any
	queueNo, profileNo := "", -1 // those of the previous row
	content := make([]byte, 0, 128)
	keyed := false
	for k, i := range places {
		r := &rows[i]
		buf = appendID(buf, r.ID)
		if mode[k] == modeFollower {
			ends = append(ends, len(buf), len(buf), len(buf))
			plans = append(plans, 0, 0, modeFollower, 1, 1, byte((leader[k]+1)>>8), byte(leader[k]+1))
			plans = plans[:(k+1)*planSize]
			continue
		}
		q := place(&queues, "q", r.Queue, queueNo)
		queueNo = r.Queue
		content = appendProfile(content[:0], r)
		if profileNo < 0 || contents[profileNo].(string) != string(content) {
			profileNo = slices.IndexFunc(contents, func(c any) bool { return c.(string) == string(content) })
			if profileNo < 0 {
				profileNo = len(contents)
				contents = append(contents, string(content))
				ref := string(binary.BigEndian.AppendUint32(nil, refOf(content)))
				names, counts = append(names, "P"+ref), append(counts, "\x00\x00\x00N"+ref)
			}
		}
		a := byte(stScheduled)
		if r.Claim != nil {
			a |= headKey
		}
		b := byte(r.Priority) | headNow
		if r.Made() {
			b |= headMade
		}
		plans = append(plans, a, b, mode[k], byte(q), byte(profileNo+1), 0, 0)
		if r.RunAt.IsZero() {
			plans = putMilli(append(plans, 0), r.Delay)
		} else {
			plans = put48(append(plans, 1), min(max(r.RunAt.UnixMilli(), 0), never-1))
		}
		re := &r.Reactions
		plans = append(plans, byte(re.Scheduled), byte(re.Available), byte(re.Retryable), byte(re.Running),
			byte(re.Ended), byte(r.Write))
		plans = append(putMilli(plans, r.MaxWait), 0)
		ends = append(ends, len(buf))
		var h onceq.Hold
		if r.Claim != nil {
			h, keyed = r.Claim.Hold, true
			buf = append(buf, r.Claim.Key[:]...)
		}
		fromEnqueue := byte(0)
		if h.FromEnqueue {
			fromEnqueue = 1
		}
		plans = putMilli(putMilli(append(plans, byte(h.Until), fromEnqueue), h.Window), h.TTL)
		ends = append(ends, len(buf))
		var cover int
		buf, cover = appendRest(buf, r, names[profileNo].(string)[1:])
		plans = append(plans, byte(cover>>16), byte(cover>>8), byte(cover))
		ends = append(ends, len(buf))
	}
	columns := sized(made.columns, 3*n)
	args := append(sized(made.args, head), len(queues), len(names), n, byID(rows, places), flag(keyed), plans)
	args = append(append(append(append(args, queues...), names...), contents...), counts...)
	for c := range 3 {
		for k := range n {
			column := &columns[c*n+k]
			*column = buf[ends[3*k+c]:ends[3*k+c+1]]
			args = append(args, column)
		}
	}
	sh.size = len(buf)
	*made = scratch{mode, leader, plans, buf, ends, columns, args}
	sh.whole, sh.args, sh.leader, sh.made = args, args[head:], leader, made
	return sh
}

// done gives back the memory of the arguments.
func (sh *share) done() {
	clear(sh.made.args)
	scratches.Put(sh.made)
	sh.whole, sh.args, sh.leader, sh.made = nil, nil, nil, nil
}

// place finds a name in a list, or adds it, and returns its number, from 1.
// before is the name of the previous row.
func place(list *[]any, prefix, name, before string) int {
	if n := len(*list); n > 0 && name == before {
		for i := n - 1; i >= 0; i-- {
			if v := (*list)[i].(string); v[len(prefix):] == name {
				return i + 1
			}
		}
	}
	for i, v := range *list {
		if v.(string)[len(prefix):] == name {
			return i + 1
		}
	}
	*list = append(*list, prefix+name)
	return len(*list)
}

// byID has the indexes of the rows (from 1, 2 bytes each) in the order of
// their IDs; "" if they are in that order already.
func byID(rows []onceq.NewRow, places []int) string {
	if slices.IsSortedFunc(places, func(a, b int) int { return strings.Compare(rows[a].ID, rows[b].ID) }) {
		return ""
	}
	order := make([]int, len(places))
	for k := range order {
		order[k] = k
	}
	slices.SortFunc(order, func(a, b int) int { return strings.Compare(rows[places[a]].ID, rows[places[b]].ID) })
	text := make([]byte, 0, 2*len(order))
	for _, k := range order {
		text = binary.BigEndian.AppendUint16(text, uint16(k+1))
	}
	return string(text)
}

// leads reports whether other rows can follow this one: once inserted it
// holds its key for a while, and it never writes to a holder.
func leads(r *onceq.NewRow, mode byte) bool {
	return (mode == modePlain || mode == modePlain+modeClocks) && r.Claim.Hold.Until != onceq.UntilDue
}

// hashID hashes the last characters of an ID, which are random in IDs that
// clients make.
func hashID(id string) (h uint32) {
	for _, c := range []byte(id[max(0, len(id)-8):]) {
		h = h<<5 ^ h>>27 ^ uint32(c)
	}
	return h
}

// modes finds the simplest mode for each row of a share. Rows with the same
// ID, and rows with the same key as a row that writes, are judged one after
// another. Other rows with the same key follow the first of them.
func modes(rows []onceq.NewRow, places []int, mode []byte, leader []int, alone bool) {
	for k, i := range places {
		r := &rows[i]
		if r.Reactions.Writes() {
			mode[k] = modeWrites
		}
		if !noClocks(r) {
			mode[k] += modeClocks
		}
	}
	if len(places) == 1 {
		return
	}
	var hard map[onceq.Key]bool
	harden := func(k int) {
		r := &rows[places[k]]
		mode[k] = modeHard
		if r.Claim != nil {
			if hard == nil {
				hard = map[onceq.Key]bool{}
			}
			hard[r.Claim.Key] = true
		}
	}
	ids, keys := dedup.New(len(places)), dedup.New(len(places))
	for k, i := range places {
		r := &rows[i]
		if first := ids.Find(hashID(r.ID), k, func(n int) bool { return rows[places[n]].ID == r.ID }); first != k {
			harden(k)
			harden(first)
		}
		if r.Claim == nil {
			continue
		}
		key := &r.Claim.Key
		first := keys.Find(binary.LittleEndian.Uint32(key[:]), k, func(n int) bool {
			return rows[places[n]].Claim.Key == *key
		})
		switch {
		case first == k:
		case leads(&rows[places[first]], mode[first]) && !r.Reactions.Writes() && !alone:
			mode[k], leader[k] = modeFollower, first
		default:
			harden(k)
			harden(first)
		}
	}
	if hard == nil {
		return
	}
	for k, i := range places {
		if c := rows[i].Claim; c != nil && hard[c.Key] {
			mode[k] = modeHard
		}
	}
}

// enqueueShares sends shares and fills in their results. It returns the
// followers that have to be sent by themselves, and the first error.
func (s *Store) enqueueShares(ctx context.Context, rows []onceq.NewRow, shares []*share,
	results []onceq.EnqueueResult) (again []int, first error) {
	trips := make([]*trip, len(shares))
	for i := range shares {
		trips[i] = &shares[i].trip
	}
	first = s.do(ctx, trips...)
	for _, sh := range shares {
		defer sh.done()
		if sh.err != nil {
			continue
		}
		status, details, profiles := text(sh.reply[0]), sh.reply[1:], s.profilesOf(ctx, &sh.trip)
		if status != "" && len(status) != len(sh.rows) {
			first = errors.Join(first, fmt.Errorf("redisstore: enqueue: the answer cannot be read (%w)",
				onceq.ErrUncertain))
			continue
		}
		for k, i := range sh.rows {
			became := byte('i')
			if status != "" {
				became = status[k]
			}
			switch became {
			case 'i':
				results[i] = inserted(&rows[i], sh.now)
				s.wakes.listeners.Due(rows[i].Queue, rows[i].Kind)
			case 'f':
				results[i] = followed(&rows[i], results[sh.rows[sh.leader[k]]])
			case 'x':
				again = append(again, i)
			default:
				tells := 1
				switch became {
				case 's', 'r':
					tells = 2
				case 'S', 'R':
					tells = 4
				}
				if len(details) < tells {
					first = errors.Join(first, fmt.Errorf("redisstore: enqueue: the answer is too short (%w)",
						onceq.ErrUncertain))
					break
				}
				var err error
				switch became {
				case 's', 'S':
					err = skipped(&rows[i], onceq.Skipped, sh.now, details[:tells], profiles, &results[i])
				case 'r', 'R':
					err = skipped(&rows[i], onceq.Rejected, sh.now, details[:tells], profiles, &results[i])
				default:
					err = s.met(ctx, &rows[i], sh, list(details[0]), &results[i])
				}
				if err != nil {
					first = errors.Join(first, fmt.Errorf("redisstore: read the answer for row %d: %w (%w)", i, err,
						onceq.ErrUncertain))
				}
				details = details[tells:]
			}
		}
	}
	return again, first
}

var outcomes = [...]onceq.Outcome{onceq.Skipped, onceq.Rejected, onceq.Replaced, onceq.Coalesced, onceq.Superseded}

// inserted is the answer for a new job. All of it is known here, except the
// time.
func inserted(r *onceq.NewRow, now int64) onceq.EnqueueResult {
	runAt := now + r.Delay.Milliseconds()
	if !r.RunAt.IsZero() {
		runAt = max(now, r.RunAt.UnixMilli())
	}
	j := &onceq.JobRow{ID: r.ID, Kind: r.Kind, Queue: r.Queue, Args: append([]byte{}, r.Args...), Encoding: r.Encoding,
		Tags:  append([]string(nil), r.Tags...),
		State: onceq.Scheduled, Priority: r.Priority, MaxAttempts: r.MaxAttempts, Timeout: r.Timeout,
		Retention: r.Retention,
		Origin:    onceq.Inserted, EnqueuedAt: onceq.Instant(now), RunAt: onceq.Instant(runAt)}
	if r.Args == nil {
		j.Args = nil
	}
	if runAt <= now {
		j.State = onceq.Available
	}
	if len(r.Meta) > 0 {
		j.Meta = readMeta(string(r.Meta))
	}
	result := onceq.EnqueueResult{Outcome: onceq.Inserted, Job: j}
	if c := r.Claim; c != nil {
		anchor := c.Hold.AnchorAt(now, runAt)
		j.Key, j.KeyText, j.Hold, j.Digest, j.Anchor = &c.Key, c.Text, c.Hold, c.Digest, onceq.Instant(anchor)
		if frees := c.Hold.FreesAt(anchor, runAt); frees > now {
			result.FreesAt = frees
		}
	}
	return result
}

// followed is the answer for a row that met the same key as its leader at
// the same instant.
func followed(r *onceq.NewRow, leader onceq.EnqueueResult) onceq.EnqueueResult {
	result := onceq.EnqueueResult{Outcome: onceq.Skipped}
	if r.Reactions.Refuses() {
		result.Outcome = onceq.Rejected
	}
	if leader.Job == nil {
		return result // the answer of its leader could not be read
	}
	job := *leader.Job
	result.Job = &job
	var c onceq.Conflict
	if leader.Conflict != nil {
		c = *leader.Conflict
	} else {
		c = onceq.Conflict{By: "key", Key: r.Claim.Key, Text: job.KeyText, Holder: job.ID, State: job.State,
			Since:   job.EnqueuedAt,
			FreesAt: onceq.Instant(leader.FreesAt), FreesWhen: job.Hold.Until.String()}
		if job.Hold.Until == onceq.UntilWindowEnds {
			c.FreesWhen = ""
		}
	}
	c.ArgsDiffer = job.Digest != r.Claim.Digest
	result.Conflict = &c
	return result
}

// met reads the answer for a row that met a job.
func (s *Store) met(ctx context.Context, r *onceq.NewRow, sh *share, v []any, result *onceq.EnqueueResult) error {
	read := func(id string, v any) (*job, error) { return s.readTriple(ctx, &sh.trip, id, v) }
	if len(v) == 0 {
		return errors.New("there is no answer")
	}
	switch code := number(v[0]); {
	case code == answerEcho && len(v) == 5:
		j, err := read(r.ID, v[2])
		if err != nil {
			return err
		}
		*result = onceq.EnqueueResult{Outcome: j.Origin, Job: &j.JobRow}
		if j.Origin == onceq.Inserted {
			if row := text(v[3]); row != "" {
				if holder, frees := holds(row); unpackID(holder) == r.ID && frees > sh.now {
					result.FreesAt = frees
				}
			}
			return nil
		}
		c := &onceq.Conflict{By: "key", Key: *j.Key, Text: j.KeyText, Holder: j.Displaced, Since: j.EnqueuedAt}
		old, err := read(j.Displaced, v[4])
		if err != nil {
			return err
		}
		if old != nil {
			c.State, c.Since, c.ArgsDiffer = old.State, old.EnqueuedAt, old.Digest != j.Digest
		} else {
			c.Gone = true
		}
		result.Conflict = c
		return nil
	case code == answerID && len(v) == 2:
		j, err := read(r.ID, v[1])
		if err != nil {
			return err
		}
		*result = onceq.EnqueueResult{Outcome: onceq.Skipped, Job: &j.JobRow}
		if r.Reactions.Refuses() || j.Kind != r.Kind {
			result.Outcome = onceq.Rejected
		}
		result.Conflict = &onceq.Conflict{By: "id", Holder: j.ID, State: j.State, Since: j.EnqueuedAt}
		return nil
	case code == answerKey && len(v) == 5:
		row := text(v[2])
		id, _ := holds(row)
		holder, err := read(id, v[3])
		if err != nil {
			return err
		}
		var held onceq.HeldKey
		if err := readKey(&held, r.Claim.Key, row, holder); err != nil {
			return err
		}
		outcome := number(v[1])
		if outcome < 0 || int(outcome) >= len(outcomes) {
			return fmt.Errorf("outcome %d", outcome)
		}
		*result = onceq.EnqueueResult{Outcome: outcomes[outcome], Conflict: held.Conflict(r.Claim.Digest)}
		stands := v[4]
		if list(stands) == nil {
			if holder != nil {
				result.Job = &holder.JobRow
				return nil
			}
			key := r.Claim.Key
			result.Job = &onceq.JobRow{ID: held.Holder, Kind: held.Kind, Queue: held.Queue, Key: &key,
				KeyText: held.Text, State: held.State}
			return nil
		}
		j, err := read("", stands)
		if err != nil {
			return err
		}
		result.Job = &j.JobRow
		return nil
	}
	return fmt.Errorf("the answer is %v", v[0])
}

// skipped reads the answer for a row that met the holder of its key and
// does not write: the row of the key, and three fields of the holder.
func skipped(r *onceq.NewRow, outcome onceq.Outcome, now int64, v []any, profiles func(string) (*profile, error),
	result *onceq.EnqueueResult) error {
	row := text(v[0])
	id, _ := holds(row)
	head, errs := "", ""
	if len(v) == 4 {
		head, errs = text(v[2]), text(v[3])
	}
	holder, err := readJob(id, text(v[1]), head, errs, now, profiles)
	if err != nil {
		return err
	}
	var held onceq.HeldKey
	if err := readKey(&held, r.Claim.Key, row, holder); err != nil {
		return err
	}
	*result = onceq.EnqueueResult{Outcome: outcome, Conflict: held.Conflict(r.Claim.Digest), Job: &holder.JobRow}
	return nil
}

// holds reads from the row of a key who holds it (packed), and when a clock
// frees it.
func holds(row string) (id string, frees int64) {
	if row == "" || row[0] != 0 {
		return row, onceq.Never
	}
	r := reader{s: row}
	r.num(3)
	frees = r.instant()
	r.num(6)
	return r.name(), frees
}
