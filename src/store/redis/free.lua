-- Leaves fence and claim id for a minute.
local function free(k, v)
  put(k, '\1\3' .. string.rep('\0', 5) .. string.sub(v, 8, 31) .. string.rep('\0', 57), 60000)
end
