select * from {ns}.change_v1($1::integer, $2::integer, $3, $4::smallint[], $5::boolean)
