select outcome, holder, behind from {ns}.release_v2($1::integer, $2, $3)
