select {ns}.note_v1($1, $2::bigint[], $3::bigint[], $4)
