# layers.awk: the include rule.  awk -v may='FOLDER:FOLDER,.. ..' -f tests/layers.awk FILES
#
# Every #include "..." of a file in FOLDER names a file in one of the folders that FOLDER may include, from the root of
# the project.  experiments/main.c may include all of them.  A breach is printed as file:line; exit status 1.
BEGIN {
    n = split(may, rule, " ")
    for (i = 1; i <= n; i++) {
        at = index(rule[i], ":")
        folder = substr(rule[i], 1, at - 1)
        list[folder] = substr(rule[i], at + 1)
        m = split(list[folder], to, ",")
        for (j = 1; j <= m; j++) allowed[folder, to[j]] = 1
    }
}
/^[ \t]*#[ \t]*include[ \t]*"/ {
    target = $0
    sub(/^[^"]*"/, "", target)
    sub(/".*/, "", target)
    whole = FILENAME
    sub(/^\.\//, "", whole)
    from = whole
    sub(/\/.*/, "", from)
    to_folder = index(target, "/") ? substr(target, 1, index(target, "/") - 1) : ""
    if (!(to_folder in list)) {
        printf "%s:%d: error: \"%s\" is not written from the root of the project, as \"core/..\"\n", FILENAME, FNR, target
        bad = 1
    } else if (whole != "experiments/main.c" && !((from, to_folder) in allowed)) {
        printf "%s:%d: error: %s/ may not include \"%s\"; it may include: %s\n", FILENAME, FNR, from, target, list[from]
        bad = 1
    }
}
END { exit bad }
