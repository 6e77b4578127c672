#!/bin/bash
# Whether the guest's ssh says hello.
exec 3<>/dev/tcp/127.0.0.1/22 || exit 1
read -r -t 4 hello <&3 && [[ $hello == SSH-* ]]
