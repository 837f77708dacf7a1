select what, i, wake from {ns}.extend_v2($1, $2::bigint, $3, $4::bigint[], $5::bigint, $6)
