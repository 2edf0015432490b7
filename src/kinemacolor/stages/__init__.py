"""One module a stage; each is a function from files to files. Import the module that is needed, never all."""
