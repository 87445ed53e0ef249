#!/usr/bin/env bash
# Makes the virtual environment of the Matrix tests: a real homeserver and a real client.
# Usage: setup.sh FOLDER. Does nothing where the folder holds what requirements.txt names.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
folder=${1:?"usage: setup.sh FOLDER (where the virtual environment goes)"}
wanted=$(cat "$here/requirements.txt")
if [ -f "$folder/installed.txt" ] && [ "$(cat "$folder/installed.txt")" = "$wanted" ]; then
    exit 0
fi
command -v python3 >/dev/null || {
    echo "python3 is missing; the Matrix tests need it with its venv module" >&2
    exit 1
}
rm -rf "$folder"
python3 -m venv "$folder" || {
    echo "python3 -m venv failed; on Debian: apt-get install python3-venv" >&2
    exit 1
}
"$folder/bin/pip" install --quiet --disable-pip-version-check -r "$here/requirements.txt"
cp "$here/requirements.txt" "$folder/installed.txt"
