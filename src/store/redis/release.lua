if state ~= 1 then return 1 end
free(k, v)
return 2
