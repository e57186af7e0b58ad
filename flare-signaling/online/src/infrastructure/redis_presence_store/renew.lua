return hold()
