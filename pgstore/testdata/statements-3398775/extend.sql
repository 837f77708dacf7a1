select what, i, wake from {ns}.extend_v1($1::text, $2::bigint, $3::text[], $4::bigint[], $5::bigint)
