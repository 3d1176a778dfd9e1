# Writes OUT, the C source of modules.h's table: the assembler takes the images in as they lie in DIR, for a compiler is
# slow with megabytes of numbers.
#   cmake -DNAMES=a;b -DCUBINS=80;90 -DDIR=... -DOUT=modules.c -P modules.cmake
set(body "#include \"modules.h\"\n\n")
string(APPEND body "#define IMAGE(symbol, path) \\\n"
                   "\t__asm__(\".section .rodata\\n.balign 16\\n.globl \" #symbol \"\\n\" #symbol \":\\n\" \\\n"
                   "\t\t\".incbin \\\"\" path \"\\\"\\n.byte 0\\n.previous\"); \\\n"
                   "\textern const char symbol[]\n\n")
set(rows "")
foreach(name ${NAMES})
  string(APPEND body "IMAGE(gpu_${name}_ptx, \"${DIR}/${name}.ptx\");\n")
  set(cubins "")
  set(n 0)
  foreach(sm ${CUBINS})
    set(path ${DIR}/${name}.sm_${sm}.cubin)
    file(SIZE ${path} bytes)
    string(APPEND body "IMAGE(gpu_${name}_${sm}, \"${path}\");\n")
    string(APPEND cubins "\t{${sm}, gpu_${name}_${sm}, ${bytes}},\n")
    math(EXPR n "${n} + 1")
  endforeach()
  if(n GREATER 0)
    string(APPEND body "static const struct gpu_image ${name}_cubins[] = {\n${cubins}};\n")
    string(APPEND rows "\t{\"${name}\", gpu_${name}_ptx, ${name}_cubins, ${n}},\n")
  else()
    string(APPEND rows "\t{\"${name}\", gpu_${name}_ptx, NULL, 0},\n")
  endif()
endforeach()
list(LENGTH NAMES n)
if(n EQUAL 0)
  set(rows "\t{NULL, NULL, NULL, 0},\n")
endif()
string(APPEND body "\nconst struct gpu_module gpu_modules[] = {\n${rows}};\nconst int32_t gpu_n_modules = ${n};\n")
file(WRITE ${OUT} "${body}")
