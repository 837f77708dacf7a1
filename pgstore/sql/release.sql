select outcome, holder, behind from {ns}.release_v1($1::integer, $2)
