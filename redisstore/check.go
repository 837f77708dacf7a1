package redisstore

import "context"

// Check looks at the partitions: that each is there and says which it is.
func (s *Store) Check(ctx context.Context) ([]string, error) {
	var trips []*trip
	for p := range s.parts {
		trips = append(trips, s.initTrip(p))
	}
	if err := s.do(ctx, trips...); err != nil {
		return nil, err
	}
	var lines []string
	for _, t := range trips {
		if err := s.checkInit(t); err != nil {
			lines = append(lines, err.Error())
		}
	}
	return lines, nil
}
