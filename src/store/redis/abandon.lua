if state ~= 1 then return 1 end
local deadline, _, expires = struct.unpack('>I8I8I8', v, 32)
local px = expires - now
if px <= 0 then
  free(k, v)
else
  put(k, string.sub(v, 1, 31) .. struct.pack('>I8', math.min(deadline, now)) .. string.sub(v, 40), px)
end
return 2
