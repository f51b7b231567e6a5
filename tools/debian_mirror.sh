#!/bin/sh
# Print the mirror that apt's sources name for a Debian release: debian_mirror.sh CODENAME [FOLDER, default /etc/apt]
#
# Reads both forms, the one-line .list and the deb822 .sources; exit status 1 if none names the release.
codename=$1
folder=${2:-/etc/apt}

one_line() {
    cat "$folder/sources.list" "$folder"/sources.list.d/*.list 2> /dev/null | awk -v codename="$codename" '
        /^[ \t]*deb[ \t]/ {
            sub(/\[[^]]*\]/, "")
            if ($3 == codename) { print $2; exit }
        }'
}

deb822() {
    for file in "$folder"/sources.list.d/*.sources; do
        [ -f "$file" ] || continue
        grep -v '^#' "$file" | awk -v RS= -v codename="$codename" '
            {
                uri = ""; found = 0; disabled = 0
                count = split($0, lines, "\n")
                for (i = 1; i <= count; i++) {
                    words = split(lines[i], word, /[ \t]+/)
                    name = tolower(word[1])
                    if (name == "uris:") uri = word[2]
                    if (name == "enabled:" && tolower(word[2]) == "no") disabled = 1
                    if (name == "suites:") for (k = 2; k <= words; k++) if (word[k] == codename) found = 1
                }
                if (found && !disabled && uri != "") { print uri; exit }
            }'
    done | head -n 1
}

mirror=$(one_line)
[ -n "$mirror" ] || mirror=$(deb822)
[ -n "$mirror" ] && echo "$mirror"
