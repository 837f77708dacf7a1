package sqlitestore

import (
	"cmp"
	"math"
	"strconv"
)

// line is what is due of one kind, at one priority, in the order in which
// it is fetched.
type line struct {
	head
	rows  []dueRow // read, and not taken yet
	last  dueRow   // the last one that was read
	ended bool     // there are no more
}

type dueRow struct {
	seq, runAt int64
	id         string
}

func (a dueRow) compare(b dueRow) int {
	return cmp.Or(cmp.Compare(a.runAt, b.runAt), cmp.Compare(a.id, b.id))
}

// merge is a JSON array of the numbers of the first jobs of several lines,
// in their common order. It reads about twice as many index entries as it
// returns, however long the lines are.
func (st *step) merge(queue string, due []head, need int) (string, error) {
	lines := make([]*line, len(due))
	for i, h := range due {
		lines[i] = &line{head: h, last: dueRow{runAt: math.MinInt64}}
	}
	chunk := need/len(lines) + 8
	list := []byte{'['}
	for n := range need {
		var first *line
		for _, l := range lines {
			if len(l.rows) == 0 && !l.ended {
				if err := st.readLine(l, queue, chunk); err != nil {
					return "", err
				}
			}
			if len(l.rows) > 0 && (first == nil || l.rows[0].compare(first.rows[0]) < 0) {
				first = l
			}
		}
		if first == nil {
			break
		}
		if n > 0 {
			list = append(list, ',')
		}
		list = strconv.AppendInt(list, first.rows[0].seq, 10)
		first.rows = first.rows[1:]
	}
	return string(append(list, ']')), nil
}

// readLine reads on in a line.
func (st *step) readLine(l *line, queue string, chunk int) error {
	err := st.each(sqlDue, 3, func(v []any) error {
		l.last = dueRow{integer(v[0]), integer(v[1]), text(v[2])}
		l.rows = append(l.rows, l.last)
		return nil
	}, queue, l.kind, l.priority, st.Now, l.last.runAt, l.last.id, int64(chunk))
	l.ended = len(l.rows) < chunk
	return err
}
