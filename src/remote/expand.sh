# expand PATH: `~` is the home directory here
expand() {
  case $1 in
  '~') at=$HOME ;;
  '~/'*) at=$HOME/${1#??} ;;
  *) at=$1 ;;
  esac
}
