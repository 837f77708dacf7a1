RELEASE onceq
