# Start a program once its database is up. At first not even the database's name exists, as in Compose or Kubernetes.
set -eu
order=$(mktemp)

# This stands for the database's container: its name appears after three seconds, its server after four.
{
    sleep 3
    echo "127.0.0.1 db" >> /etc/hosts
    echo name >> "$order"
    sleep 1
    echo server >> "$order"
    exec python3 -m http.server --bind 127.0.0.1 5432
} > /dev/null 2>&1 &
trap 'kill $!; rm "$order"' EXIT

# This would be the entry point of the program's container.
safeconnect wait db:5432 --timeout 60 -- sh -c "echo program >> $order"

set -- $(cat "$order")
echo "$@"
test "$*" = "name server program"
