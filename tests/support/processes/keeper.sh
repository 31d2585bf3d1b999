# Makes a directory and says where, then keeps one server in it: as its standard input says line by line, each of which
# it answers with one. Where that input ends, because the test has ended or its process is gone, server and directory
# are gone as well. Arguments: where to make the directory; the program and its arguments.
trap '' HUP INT TERM
folder=$(mktemp -d "$1/tower-idempotency-XXXXXX") && cd -- "$folder" && exec 2>>log || exit 1
shift
echo "$folder"
server=
while read -r verb; do
  case $verb in
    start)
      if command -v "$1" >/dev/null; then
        "$@" </dev/null >>log &
        server=$!
        echo "$server"
      else
        echo missing
      fi
      ;;
    # Until this or `KILL` has seen its end, its id is given to no other process.
    running)
      jobs >jobs
      read -r job <jobs
      case $job in
        *Running*) echo yes ;;
        *)
          server=
          echo no
          ;;
      esac
      ;;
    KILL)
      [ -z "$server" ] || kill -KILL "$server"
      wait
      server=
      echo killed
      ;;
    *)
      kill -"$verb" "$server"
      echo "sent $verb"
      ;;
  esac
done
if [ -n "$server" ]; then
  # What it has beside its files goes with it where it ends by itself; not for long.
  if [ -n "${KEEPER_ASKS:-}" ]; then
    kill -"$KEEPER_ASKS" "$server" && kill -CONT "$server"
    for _ in 1 2 3 4 5 6 7 8 9 10; do
      jobs >jobs
      grep -q Running jobs || break
      sleep 0.1
    done
  fi
  kill -KILL "$server" 2>/dev/null
fi
wait
cd /
# A child of the server, such as one that writes a snapshot, may still be at work for a moment.
for _ in 1 2 3 4 5; do
  rm -rf -- "$folder" && break
  sleep 0.1
done
