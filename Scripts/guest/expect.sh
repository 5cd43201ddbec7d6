# How tests report what they found. Sourced by them; they end with `exit "$failures"`.
failures=0

# expect NAME WANTED FOUND
expect() {
    if [ "$2" = "$3" ]; then
        echo "ROOST-TEST: $ROOST_TEST $1 is right"
    else
        echo "ROOST-TEST: $ROOST_TEST $1 is wrong: wanted $2, found $3"
        failures=$((failures + 1))
    fi
}
