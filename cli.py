from pyro_vrnn.cli import main

if __name__ == "__main__":
    main()
