/* cc -g1 -O2 -shared -fPIC -nostdlib -ffile-prefix-map="$PWD"=. -Wl,--build-id=none,-z,noseparate-code,-z,max-page-size=4096 -o inlined.so inlined.c */
static inline int inner(int value) { return value * 7 + (value >> 3); }
int outer(int value) { return inner(value) - inner(value + 1); }
