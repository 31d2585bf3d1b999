-- ARGV: owner, lease, committed (0 or 1)
if state ~= 1 then return 1 end
local flags = string.byte(v, 3)
if ARGV[3] == '1' and flags % 2 == 0 then flags = flags + 1 end
-- Rounded up: a lease lasts as long as was asked for.
local deadline = t[1] * 1000 + math.ceil(t[2] / 1000) + ARGV[2]
local px = math.max(struct.unpack('>I8', v, 48), deadline) - now
put(k, string.sub(v, 1, 2) .. string.char(flags) .. string.sub(v, 4, 31) .. struct.pack('>I8', deadline) .. string.sub(v, 40), px)
return 2
