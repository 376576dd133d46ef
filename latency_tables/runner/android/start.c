/* Entry point of an Android program, in place of the NDK's crtbegin_dynamic.o.
 * The kernel hands over with the argument block at the stack pointer; bionic's __libc_init takes that block, sets libc
 * up, calls main and exits with its result. Bionic expects the tables of constructors and destructors to start with -1
 * and end with 0; ours are empty (plain C needs none). */
typedef void (*function)(void);
struct tables {
  function *preinit, *init, *fini, *ctors;
};
int main(int, char **, char **);
void __libc_init(void *, function, int (*)(int, char **, char **), const struct tables *);

static function preinit[] = {(function)-1, 0}, init[] = {(function)-1, 0};
static function fini[] = {(function)-1, 0}, ctors[] = {(function)-1, 0};

__attribute__((used, noreturn)) void start_main(void *arguments) {
  const struct tables tables = {preinit, init, fini, ctors};
  __libc_init(arguments, 0, main, &tables);
  __builtin_unreachable();
}

__asm__(".text\n.globl _start\n.type _start,%function\n_start:\n  mov x0, sp\n  b start_main\n");
